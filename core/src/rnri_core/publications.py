"""The literature that solvers, samplers and models come from."""

from __future__ import annotations

from rnri_core.registry import Source

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
BARZILAI_BORWEIN = Source(
    "barzilai1988twopoint",
    "Two-Point Step Size Gradient Methods",
    "Barzilai, Jonathan and Borwein, Jonathan M.",
    "IMA Journal of Numerical Analysis",
    1988,
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
EISENSTAT_WALKER = Source(
    "eisenstat1996forcing",
    "Choosing the Forcing Terms in an Inexact Newton Method",
    "Eisenstat, Stanley C. and Walker, Homer F.",
    "SIAM Journal on Scientific Computing",
    1996,
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
EDICT = Source(
    "wallace2023edict",
    "EDICT: Exact Diffusion Inversion via Coupled Transformations",
    "Wallace, Bram and Gokul, Akash and Naik, Nikhil",
    "CVPR",
    2023,
    "2211.12446",
)
BDIA = Source(
    "zhang2024bdia",
    "Exact Diffusion Inversion via Bidirectional Integration Approximation",
    "Zhang, Guoqiang and Lewis, J. P. and Kleijn, W. Bastiaan",
    "ECCV",
    2024,
    "2307.10829",
)
LATENT_DIFFUSION = Source(
    "rombach2022latent",
    "High-Resolution Image Synthesis with Latent Diffusion Models",
    "Rombach, Robin and Blattmann, Andreas and Lorenz, Dominik and Esser, Patrick and Ommer, Björn",
    "CVPR",
    2022,
    "2112.10752",
)
SDXL = Source(
    "podell2024sdxl",
    "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis",
    "Podell, Dustin and English, Zion and Lacey, Kyle and Blattmann, Andreas and Dockhorn, Tim and Müller, Jonas"
    " and Penna, Joe and Rombach, Robin",
    "ICLR",
    2024,
    "2307.01952",
)
LCM = Source(
    "luo2023lcm",
    "Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference",
    "Luo, Simian and Tan, Yiqin and Huang, Longbo and Li, Jian and Zhao, Hang",
    "arXiv",
    2023,
    "2310.04378",
)
STABLE_DIFFUSION_3 = Source(
    "esser2024scaling",
    "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis",
    "Esser, Patrick and Kulal, Sumith and Blattmann, Andreas and others",
    "ICML",
    2024,
    "2403.03206",
)
PIXART_ALPHA = Source(
    "chen2024pixartalpha",
    "PixArt-α: Fast Training of Diffusion Transformer for Photorealistic Text-to-Image Synthesis",
    "Chen, Junsong and Yu, Jincheng and Ge, Chongjian and others",
    "ICLR",
    2024,
    "2310.00426",
)
PIXART_SIGMA = Source(
    "chen2024pixartsigma",
    "PixArt-Σ: Weak-to-Strong Training of Diffusion Transformer for 4K Text-to-Image Generation",
    "Chen, Junsong and Ge, Chongjian and Xie, Enze and others",
    "ECCV",
    2024,
    "2403.04692",
)
SANA = Source(
    "xie2025sana",
    "SANA: Efficient High-Resolution Image Synthesis with Linear Diffusion Transformers",
    "Xie, Enze and Chen, Junsong and Chen, Junyu and others",
    "ICLR",
    2025,
    "2410.10629",
)
