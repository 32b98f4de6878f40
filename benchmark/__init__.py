"""unlearning-bench: which way of making a language model forget is best, measured.

A plugin needs nothing but this module. Names are imported on first use, so that `bench --help` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.architecture import Architecture as Architecture
    from benchmark.architecture import Part as Part
    from benchmark.architecture import architecture_of as architecture_of
    from benchmark.architecture import insert as insert
    from benchmark.architecture import layers_of as layers_of
    from benchmark.architecture import undescribed as undescribed
    from benchmark.autoencoder import SparseAutoencoder as SparseAutoencoder
    from benchmark.autoencoder import load_autoencoder as load_autoencoder
    from benchmark.codebook import Codebook as Codebook
    from benchmark.curvature import fisher_information as fisher_information
    from benchmark.dictionary import activations as activations
    from benchmark.dictionary import enrichment as enrichment
    from benchmark.dictionary import layer_at as layer_at
    from benchmark.fields import check_choice as check_choice
    from benchmark.fields import check_fraction as check_fraction
    from benchmark.fields import check_positive as check_positive
    from benchmark.fields import check_training as check_training
    from benchmark.losses import cross_entropy as cross_entropy
    from benchmark.losses import kl_divergence as kl_divergence
    from benchmark.losses import label_cross_entropy as label_cross_entropy
    from benchmark.losses import sequence_nll as sequence_nll
    from benchmark.losses import token_nll as token_nll
    from benchmark.losses import total_nll as total_nll
    from benchmark.memory.micro_batches import gradients as gradients
    from benchmark.method import Kept as Kept
    from benchmark.method import Request as Request
    from benchmark.method import UnlearningMethod as UnlearningMethod
    from benchmark.method import Unsupported as Unsupported
    from benchmark.model import LanguageModel as LanguageModel
    from benchmark.neurons import Importance as Importance
    from benchmark.neurons import Neurons as Neurons
    from benchmark.neurons import Where as Where
    from benchmark.neurons import highest as highest
    from benchmark.neurons import neurons_of as neurons_of
    from benchmark.neurons import selectivity as selectivity
    from benchmark.neurons import some_windows as some_windows
    from benchmark.panel.documents import over_documents as over_documents
    from benchmark.panel.metric import Metric as Metric
    from benchmark.panel.subject import Subject as Subject
    from benchmark.passages import Passages as Passages
    from benchmark.record import MetricValue as MetricValue
    from benchmark.registry import register as register
    from benchmark.task import Task as Task
    from benchmark.training import descend as descend
    from benchmark.training import original as original

_HOME = {
    "Architecture": "architecture",
    "Codebook": "codebook",
    "Importance": "neurons",
    "Kept": "method",
    "LanguageModel": "model",
    "Metric": "panel.metric",
    "MetricValue": "record",
    "Neurons": "neurons",
    "Part": "architecture",
    "Passages": "passages",
    "Request": "method",
    "SparseAutoencoder": "autoencoder",
    "Subject": "panel.subject",
    "Task": "task",
    "UnlearningMethod": "method",
    "Unsupported": "method",
    "Where": "neurons",
    "activations": "dictionary",
    "architecture_of": "architecture",
    "check_choice": "fields",
    "check_fraction": "fields",
    "check_positive": "fields",
    "check_training": "fields",
    "cross_entropy": "losses",
    "descend": "training",
    "enrichment": "dictionary",
    "fisher_information": "curvature",
    "gradients": "memory.micro_batches",
    "highest": "neurons",
    "insert": "architecture",
    "kl_divergence": "losses",
    "label_cross_entropy": "losses",
    "layer_at": "dictionary",
    "layers_of": "architecture",
    "load_autoencoder": "autoencoder",
    "neurons_of": "neurons",
    "original": "training",
    "over_documents": "panel.documents",
    "register": "registry",
    "selectivity": "neurons",
    "sequence_nll": "losses",
    "some_windows": "neurons",
    "token_nll": "losses",
    "total_nll": "losses",
    "undescribed": "architecture",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    return getattr(import_module(f"benchmark.{_HOME[name]}"), name)
