"""Numbers of applications in the core."""


class AppNumbers:
    """Gives each application a number that it keeps while the process lives: flows and counters refer to it."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def number(self, application: str) -> int:
        if application not in self._names:
            self._names.append(application)
        return self._names.index(application)

    @property
    def names(self) -> tuple[str, ...]:
        """By number."""
        return tuple(self._names)
