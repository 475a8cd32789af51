"""`x[key]` and `x[key] = value`: slices make views, integer arrays gather and scatter, masks select.

NumPy's rules: a basic key (ints, slices, None, Ellipsis) gives a view, or a scalar when ints name one element.
With an integer array in the key, the ints count as arrays too; the arrays broadcast together, and their axes
stand where the first of them was if they are neighbours, else in front.

    keys        the parts of a key
    masks       bools and masks, as axes and positions
    views       what ints, slices and Nones select
    selection   what integer arrays select
    read        `x[key]`
    write       `x[key] = value`
"""
