"""Several processes on one port: a parent that serves nobody itself, and workers that are servers each.

The parent's tree has a child for each worker's process, which gives signs of life, is ended when it gives none, and is
replaced when it dies. What the machine has once is the parent's: the port's number, the embedded recogniser, alerts,
the admin port. What clients need is the workers', and what must survive them is in the journal, which they share.
"""
