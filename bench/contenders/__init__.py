"""What is measured side by side: one module a library, one function a measure, all called in processes of their own."""
