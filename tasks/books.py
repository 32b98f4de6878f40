"""Books: prose tales."""

from benchmark import Task
from tasks import CORPUS

DOCUMENTS = Task(
    name="books",
    domain="books",
    removes="documents",
    description="forget some prose tales, keep the others",
    corpus=CORPUS,
)
DOMAIN = Task(
    name="books-domain",
    domain="books",
    removes="domain",
    description="forget all prose tales, keep every other kind of text",
    corpus=CORPUS,
)
