"""The admin plane: metrics, health, state and the console, served by a thread that answers while the loop stands still.

The loop tells the thread of itself through a `Board`, by immutable values alone; the thread never touches the rest.
"""
