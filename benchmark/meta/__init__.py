"""Metrics on trial: what is known of a model beforehand, set against what each metric says of it.

In the lab it is known which models were trained on a task's forget documents, and models between the two can be made. A metric is
*faithful* if it tells the ones from the others, *monotone* if it follows the grades between them, *repeatable* if another training
seed gives the same value, and *robust* if quantisation and relearning on harmless text change it no more than they should. After the
meta-evaluation of OpenUnlearning (arXiv:2506.12618).
"""
