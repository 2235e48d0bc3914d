"""The literature the solvers come from."""

from __future__ import annotations

from dataclasses import dataclass

_CONFERENCES = ("CVPR", "ECCV", "ICCV", "ICLR")


@dataclass(frozen=True)
class Source:
    """A publication; ``str()`` of it is one line for tables, ``bibtex()`` an entry to cite."""

    key: str
    title: str
    authors: str
    venue: str
    year: int
    arxiv: str = ""

    def __str__(self) -> str:
        first, *rest = self.authors.split(" and ")
        return f"{first.split(',')[0]}{' et al.' if rest else ''}, {self.venue} {self.year}"

    def bibtex(self) -> str:
        kind, where = ("inproceedings", "booktitle") if self.venue in _CONFERENCES else ("article", "journal")
        entries = {"title": f"{{{self.title}}}", "author": self.authors, where: self.venue, "year": str(self.year)}
        if self.arxiv:
            entries |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in entries.items())
        return f"@{kind}{{{self.key},\n{body}\n}}"


DDIM = Source(
    "song2021ddim",
    "Denoising Diffusion Implicit Models",
    "Song, Jiaming and Meng, Chenlin and Ermon, Stefano",
    "ICLR",
    2021,
    "2010.02502",
)
GNRI = Source(
    "samuel2025gnri",
    "Lightning-Fast Image Inversion and Editing for Text-to-Image Diffusion Models",
    "Samuel, Dvir and Meiri, Barak and Maron, Haggai and Tewel, Yoad and Darshan, Nir and Avidan, Shai"
    " and Chechik, Gal and Ben-Ari, Rami",
    "ICLR",
    2025,
    "2312.12540",
)
AIDI = Source(
    "pan2023aidi",
    "Effective Real Image Editing with Accelerated Iterative Diffusion Inversion",
    "Pan, Zhihong and Gherardi, Riccardo and Xie, Xiufeng and Huang, Stephen",
    "ICCV",
    2023,
    "2309.04907",
)
CHEBYSHEV = Source(
    "golub1961chebyshev",
    "Chebyshev Semi-Iterative Methods, Successive Overrelaxation Iterative Methods,"
    " and Second Order Richardson Iterative Methods",
    "Golub, Gene H. and Varga, Richard S.",
    "Numerische Mathematik",
    1961,
)
ANDERSON = Source(
    "walker2011anderson",
    "Anderson Acceleration for Fixed-Point Iterations",
    "Walker, Homer F. and Ni, Peng",
    "SIAM Journal on Numerical Analysis",
    2011,
)
BROYDEN = Source(
    "broyden1965class",
    "A Class of Methods for Solving Nonlinear Simultaneous Equations",
    "Broyden, Charles G.",
    "Mathematics of Computation",
    1965,
)
NEWTON_KRYLOV = Source(
    "knoll2004jfnk",
    "Jacobian-free Newton-Krylov Methods: A Survey of Approaches and Applications",
    "Knoll, Dana A. and Keyes, David E.",
    "Journal of Computational Physics",
    2004,
)
RENOISE = Source(
    "garibi2024renoise",
    "ReNoise: Real Image Inversion Through Iterative Noising",
    "Garibi, Daniel and Patashnik, Or and Voynov, Andrey and Averbuch-Elor, Hadar and Cohen-Or, Daniel",
    "ECCV",
    2024,
    "2403.14602",
)
EXACT_DPM = Source(
    "hong2024exactdpm",
    "On Exact Inversion of DPM-Solvers",
    "Hong, Seongmin and Lee, Kyeonghyun and Jeon, Suh Yoon and Bae, Hyewon and Chun, Se Young",
    "CVPR",
    2024,
    "2311.18387",
)
SPDINV = Source(
    "li2024spdinv",
    "Source Prompt Disentangled Inversion for Boosting Image Editability with Diffusion Models",
    "Li, Ruibin and Li, Ruihuang and Guo, Song and Zhang, Lei",
    "ECCV",
    2024,
    "2403.11105",
)
