"""Makes the packed weights of the precision "int4-calibrated".

The model speaks a fixed set of sentences in bf16. The matrices of its layers are then rounded to int4, one after
another, so that their products with the inputs of these sentences change least.
"""
