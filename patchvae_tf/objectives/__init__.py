"""What training makes small: the terms of the loss, made from a model's outputs.

`losses` has the formulas, `settings.objectives` the weights. A term is a row of `parts.TERMS`.
"""
