"""`gradnoise cite`: what to cite."""

import typer

import gradnoise

BIBTEX = """\
@software{gradnoise,
  title   = {gradnoise: measure the noise in a model's gradients, predict what SGD will do, simulate it},
  version = {VERSION},
}

@unpublished{tenka-space-time,
  author = {Tenka, Samuel C.},
  title  = {A Space-Time Approach to Analyzing Stochastic Gradient Descent},
  note   = {manuscript},
}

@unpublished{tenka-small-learning-rates,
  author = {Tenka, Samuel C.},
  title  = {{SGD} at Small Learning Rates},
  note   = {manuscript},
}

@inproceedings{li-2021-validity,
  author    = {Li, Zhiyuan and Malladi, Sadhika and Arora, Sanjeev},
  title     = {On the Validity of Modeling {SGD} with Stochastic Differential Equations ({SDE}s)},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2021},
  eprint    = {2102.12470},
  archivePrefix = {arXiv},
}

@misc{gomez-uribe-2022-averaging,
  author = {Gomez-Uribe, Carlos A.},
  title  = {Studying Generalization Through Data Averaging},
  year   = {2022},
  eprint = {2206.13669},
  archivePrefix = {arXiv},
}

@inproceedings{chaudhari-2018-variational,
  author    = {Chaudhari, Pratik and Soatto, Stefano},
  title     = {Stochastic gradient descent performs variational inference, converges to limit cycles for deep networks},
  booktitle = {International Conference on Learning Representations},
  year      = {2018},
  eprint    = {1710.11029},
  archivePrefix = {arXiv},
}

@misc{mccandlish-2018-large-batch,
  author = {McCandlish, Sam and Kaplan, Jared and Amodei, Dario and {OpenAI Dota Team}},
  title  = {An Empirical Model of Large-Batch Training},
  year   = {2018},
  eprint = {1812.06162},
  archivePrefix = {arXiv},
}
"""


def cite() -> None:
    """Print BibTeX to cite.

    For gradnoise, and for the papers whose theory it uses.
    """
    typer.echo(BIBTEX.replace("VERSION", gradnoise.__version__), nl=False)
