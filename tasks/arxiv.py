"""arXiv: LaTeX of research papers."""

from benchmark import Task
from tasks import CORPUS

DOCUMENTS = Task(
    name="arxiv",
    domain="arxiv",
    removes="documents",
    description="forget some LaTeX of research papers, keep the others",
    corpus=CORPUS,
)
DOMAIN = Task(
    name="arxiv-domain",
    domain="arxiv",
    removes="domain",
    description="forget all LaTeX of research papers, keep every other kind of text",
    corpus=CORPUS,
)
