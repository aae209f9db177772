"""What can go wrong while a model is trained, judged and registered."""


class TrainingError(Exception):
    """Base of every error that training raises."""


class TooLittleData(TrainingError):
    """There are too few labelled rows to train, calibrate and test on."""


class RegistryUnavailable(TrainingError):
    """MLflow does not answer."""


class InvalidParameters(TrainingError):
    """params.yaml does not say what it must."""
