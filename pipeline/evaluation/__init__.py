"""How good a model is on a kind of reviews, measured against what people said: labels, left-out reviews, reference summaries.

samples.py draws reviews and restaurants, labels.py says what is true of a review, evaluate.py asks, sentiment.py and texts.py measure,
bootstrap.py says how far a figure can be trusted, table.py and plot.py show it.
"""
