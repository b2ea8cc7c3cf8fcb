"""Fine-tune a trained model for cell types: settings, loss and run; it stands on ``apply`` and ``evaluate``."""
