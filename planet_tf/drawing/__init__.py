"""Maps and pictures: as images, and as pages for a browser.

No TensorFlow, and no network.
"""
