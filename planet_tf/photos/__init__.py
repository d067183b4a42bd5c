"""Photos as files and as records: images, EXIF, tables, tars, rejects.

No TensorFlow. Imports no other package of the project.
"""
