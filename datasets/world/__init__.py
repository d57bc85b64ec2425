"""The pens of the drawn world: scenes, videos, faces and styles, each with the truth that goes with it.

Everything is drawn from a seed with numpy and OpenCV, and is the same to the byte on every machine: random numbers are
the raw ones of PCG64, which numpy promises never to change; what becomes a pixel is computed in whole numbers, or in
floats with + - * / and square root alone, which IEEE 754 rounds the same everywhere (sine and exponential are not: they
come from tables of whole numbers); and of OpenCV only what is exact in whole numbers is used.

`datasets/shapes.py` is the door: a data set for each task.
"""
