"""Where log lines go: to the console and to a run's file.

Imports nothing heavy.
"""

import logging
import sys


class ConsoleHandler(logging.Handler):
    """Lines as they are, however long: above the live progress bar, where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if sys.stdout.isatty():
            import rich

            rich.get_console().out(line, highlight=False)
        else:
            print(line, flush=True)


def console_for_warnings() -> None:
    """Keep what a run logs for its file, where many runs or processes share a console."""
    for handler in logging.root.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


class LogFile(logging.FileHandler):
    """A log that cannot be written is an error like any other, not a traceback on the console."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        raise  # called while the error is being handled
