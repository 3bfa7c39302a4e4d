"""What the tests of the embedded recogniser share."""
