"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored; the tests that send it need it to arrive."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
