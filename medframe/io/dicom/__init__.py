"""DICOM: series of single images and multi-frame objects as volumes, and an index of folders by headers alone."""
