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

SDEDIT = Source(
    "meng2022sdedit",
    "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations",
    "Meng, Chenlin and He, Yutong and Song, Yang and Song, Jiaming and Wu, Jiajun and Zhu, Jun-Yan and Ermon, Stefano",
    "ICLR",
    2022,
    "2108.01073",
)
IMAGIC = Source(
    "kawar2023imagic",
    "Imagic: Text-Based Real Image Editing with Diffusion Models",
    "Kawar, Bahjat and Zada, Shiran and Lang, Oran and Tov, Omer and Chang, Huiwen and Dekel, Tali and Mosseri, Inbar"
    " and Irani, Michal",
    "CVPR",
    2023,
    "2210.09276",
)
BLENDED = Source(
    "avrahami2023blended",
    "Blended Latent Diffusion",
    "Avrahami, Omri and Fried, Ohad and Lischinski, Dani",
    "ACM Transactions on Graphics",
    2023,
    "2206.02779",
)
DIFFEDIT = Source(
    "couairon2023diffedit",
    "DiffEdit: Diffusion-based Semantic Image Editing with Mask Guidance",
    "Couairon, Guillaume and Verbeek, Jakob and Schwenk, Holger and Cord, Matthieu",
    "ICLR",
    2023,
    "2210.11427",
)
PROMPT_TO_PROMPT = Source(
    "hertz2023prompt",
    "Prompt-to-Prompt Image Editing with Cross-Attention Control",
    "Hertz, Amir and Mokady, Ron and Tenenbaum, Jay and Aberman, Kfir and Pritch, Yael and Cohen-Or, Daniel",
    "ICLR",
    2023,
    "2208.01626",
)
MASACTRL = Source(
    "cao2023masactrl",
    "MasaCtrl: Tuning-Free Mutual Self-Attention Control for Consistent Image Synthesis and Editing",
    "Cao, Mingdeng and Wang, Xintao and Qi, Zhongang and Shan, Ying and Qie, Xiaohu and Zheng, Yinqiang",
    "ICCV",
    2023,
    "2304.08465",
)
PLUG_AND_PLAY = Source(
    "tumanyan2023plug",
    "Plug-and-Play Diffusion Features for Text-Driven Image-to-Image Translation",
    "Tumanyan, Narek and Geyer, Michal and Bagon, Shai and Dekel, Tali",
    "CVPR",
    2023,
    "2211.12572",
)
NEGATIVE = Source(
    "miyake2023negative",
    "Negative-prompt Inversion: Fast Image Inversion for Editing with Text-guided Diffusion Models",
    "Miyake, Daiki and Iohara, Akihiro and Saito, Yu and Tanaka, Toshiyuki",
    "arXiv",
    2023,
    "2305.16807",
)
EDIT_FRIENDLY = Source(
    "huberman2024edit",
    "An Edit Friendly DDPM Noise Space: Inversion and Manipulations",
    "Huberman-Spiegelglas, Inbar and Kulikov, Vladimir and Michaeli, Tomer",
    "CVPR",
    2024,
    "2304.06140",
)
TURBOEDIT = Source(
    "deutch2024turboedit",
    "TurboEdit: Text-Based Image Editing Using Few-Step Diffusion Models",
    "Deutch, Gilad and Gal, Rinon and Garibi, Daniel and Patashnik, Or and Cohen-Or, Daniel",
    "SIGGRAPH Asia",
    2024,
    "2408.00735",
)
DIRECT_INVERSION = Source(
    "ju2024direct",
    "PnP Inversion: Boosting Diffusion-based Editing with 3 Lines of Code",
    "Ju, Xuan and Zeng, Ailing and Bian, Yuxuan and Liu, Shaoteng and Xu, Qiang",
    "ICLR",
    2024,
    "2310.01506",
)
LEDITS = Source(
    "brack2024ledits",
    "LEDITS++: Limitless Image Editing using Text-to-Image Models",
    "Brack, Manuel and Friedrich, Felix and Kornmeier, Katharina and Tsaban, Linoy and Schramowski, Patrick"
    " and Kersting, Kristian and Passos, Apolinário",
    "CVPR",
    2024,
    "2311.16711",
)
INFEDIT = Source(
    "xu2024infedit",
    "Inversion-Free Image Editing with Language-Guided Diffusion Models",
    "Xu, Sihan and Huang, Yidong and Pan, Jiayi and Ma, Ziqiao and Chai, Joyce",
    "CVPR",
    2024,
    "2312.04965",
)
RF_INVERSION = Source(
    "rout2025rfinversion",
    "Semantic Image Inversion and Editing using Rectified Stochastic Differential Equations",
    "Rout, Litu and Chen, Yujia and Ruiz, Nataniel and Caramanis, Constantine and Shakkottai, Sanjay"
    " and Chu, Wen-Sheng",
    "ICLR",
    2025,
    "2410.10792",
)
RF_SOLVER = Source(
    "wang2025rfsolver",
    "Taming Rectified Flow for Inversion and Editing",
    "Wang, Jiangshan and Pu, Junfu and Qi, Zhongang and Guo, Jiayi and Ma, Yue and Huang, Nisha and Chen, Yuxin"
    " and Li, Xiu and Shan, Ying",
    "ICML",
    2025,
    "2411.04746",
)
FIREFLOW = Source(
    "deng2025fireflow",
    "FireFlow: Fast Inversion of Rectified Flow for Image Semantic Editing",
    "Deng, Yingying and He, Xiangyu and Mei, Changwang and Wang, Peisong and Tang, Fan",
    "ICML",
    2025,
    "2412.07517",
)
FLOWEDIT = Source(
    "kulikov2025flowedit",
    "FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models",
    "Kulikov, Vladimir and Kleiner, Matan and Huberman-Spiegelglas, Inbar and Michaeli, Tomer",
    "ICCV",
    2025,
    "2412.08629",
)
NAO = Source(
    "samuel2023nao",
    "Norm-guided latent space exploration for text-to-image generation",
    "Samuel, Dvir and Ben-Ari, Rami and Darshan, Nir and Maron, Haggai and Chechik, Gal",
    "NeurIPS",
    2023,
    "2306.08687",
)
