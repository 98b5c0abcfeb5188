"""TensorFlow Lite graphs as PyTorch modules, and the landmark network that comes as one."""
