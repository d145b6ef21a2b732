"""The app's source: watched, and what a save concerns redeployed."""
