import logging

import pytest

from mnist_lab.command import LogFile


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_log_that_cannot_be_written_is_an_error(capfd):
    log = LogFile("/dev/full", delay=True)
    record = logging.LogRecord("name", logging.INFO, __file__, 1, "a line", None, None)
    with pytest.raises(OSError, match="No space left"):
        log.handle(record)
    assert capfd.readouterr().err == ""
