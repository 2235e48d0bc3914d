"""One family of pipelines per file, each a `rnri.models.ModelAdapter`; `rnri.models.MODELS` names them."""
