"""Made-up speech, and augmentation of real speech."""
