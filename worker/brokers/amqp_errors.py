"""What pika raises, in our words: which failures pass, which stay, and what to do about those."""

from __future__ import annotations

import ssl

import pika.exceptions
from pika.adapters.utils import connection_workflow

from worker.errors import BrokerError, BrokerRefused, BrokerUnavailable

ACCESS_REFUSED = 403
PRECONDITION_FAILED = 406


def translated(error: BaseException, url: str) -> BrokerError:
    """The failure of a connection to `url`, or of a channel on it; its cause is what really happened."""
    cause = _root(error)
    translation = _sentence(cause, url)
    translation.__cause__ = cause
    return translation


def _sentence(error: BaseException, url: str) -> BrokerError:
    where = f"RabbitMQ at {url}"
    text = str(error) or type(error).__name__
    # pika guesses these two from how far the connection came; only when the broker said so itself is it more than a guess.
    said = "ConnectionClosedByBroker" in text and " is down" not in text and " limit " not in text
    match error:
        case pika.exceptions.ProbableAuthenticationError() if said:
            remedy = "correct user and password (BROKER_USERNAME and BROKER_PASSWORD, or those in RABBITMQ_URL)"
            return BrokerRefused(f"{where} refuses the login; {remedy}")
        case pika.exceptions.ProbableAccessDeniedError() if said:
            return BrokerRefused(f"{where} refuses the vhost ({text}); correct the end of RABBITMQ_URL, or let the user in")
        case ssl.SSLCertVerificationError():
            return BrokerRefused(f"{where} has a certificate that is not trusted ({error.verify_message}); set BROKER_CA_FILE")
        case pika.exceptions.ConnectionClosedByBroker() | pika.exceptions.ChannelClosedByBroker():
            text = error.reply_text
            if error.reply_code == ACCESS_REFUSED:
                return BrokerRefused(f"{where}: {text}; give the user the right to configure, write and read ttg.*")
            if error.reply_code == PRECONDITION_FAILED and "timed out" not in text:
                return BrokerRefused(f"{where}: {text}")
    return BrokerUnavailable(f"{where}: {text}")


def _root(error: BaseException) -> BaseException:
    """What really happened, out of the wrappers in which pika reports a connection that could not be made."""
    while True:
        match error:
            case connection_workflow.AMQPConnectionWorkflowFailed():
                error = error.exceptions[-1]
            case connection_workflow.AMQPConnectorPhaseErrorBase():
                error = error.exception
            case pika.exceptions.AMQPConnectionError(args=[BaseException() as inner, *_]):
                error = inner
            case _:
                return error
