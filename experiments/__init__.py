"""Experiments with `interpretable_sgd`: data, nets, training, measures, results, figures."""
