"""Operations with more than one implementation.

Each sits in a folder of its own: a public function with ``impl=``, its reference in plain PyTorch, and the faster ones.
"""

from pathlib import Path

__all__: list[str] = []

# Hugging Face publishes a package of the same name; mixed up, the two fail in confusing ways much later.
if not (Path(__file__).parent / "backward_warp" / "reference.py").is_file() or __name__ != "kernels":
    raise ImportError(
        f"the package 'kernels' at {Path(__file__).parent} is not the one of gohd-live; "
        "uninstall the package of that name ('pip uninstall kernels') or put the gohd-live tree first on the path"
    )
