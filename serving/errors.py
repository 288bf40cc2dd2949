"""What goes wrong while serving.

```
PenstockError
└── ServingError                     what the service itself meets
    ├── FrameError                   a link carries bytes that no end of ours would send
    ├── ChildDied                    a gateway, worker or forkserver ended while it was needed
    ├── Rejected                     a bundle must not serve: digest, golden rows, signature
    └── RequestError            400  answered to a client; the text is made for clients
        ├── Unauthorized        401  with WWW-Authenticate
        ├── UnknownPath         404
        ├── MethodNotAllowed    405
        ├── SlowRequest         408
        ├── BodyTooLarge        413
        ├── UnsupportedMedia    415
        ├── HeadersTooLarge     431
        ├── ModelFailed         500
        ├── Overloaded          503  with Retry-After
        ├── TokensMissing       503  with Retry-After
        └── DeadlinePassed      504
```
"""

from __future__ import annotations

from typing import ClassVar

from registry.errors import PenstockError

#: Statuses that the client did nothing to deserve: told in the log with the names of the request.
SURPRISES = (500, 504)


class ServingError(PenstockError):
    """The service met something that it cannot go on with."""

    kind = "serving"


class FrameError(ServingError):
    """The bytes on a link are not a frame, or not the frame that was due. The link is closed."""

    kind = "frame"


class ChildDied(ServingError):
    """A process of the service ended while something waited for it."""

    kind = "child-died"


class Starved(ServingError):
    """A process that left the processor to others got none of it."""

    kind = "starved"


class Rejected(ServingError):
    """A candidate generation must not become active; `what` says why."""

    kind = "rejected"


class RequestError(ServingError):
    """A client's request cannot be answered as asked. Nothing internal goes into its text."""

    kind = "request"
    status: ClassVar[int] = 400
    #: MLflow's name for the same thing.
    code: ClassVar[str] = "BAD_REQUEST"
    #: Seconds after which trying again makes sense; None: it does not.
    retry_after: ClassVar[int | None] = None
    #: Whether the connection is of no further use.
    fatal: ClassVar[bool] = False


class Unauthorized(RequestError):
    """The request carries no token of a client, or one that is not known (any more)."""

    status = 401
    code = "UNAUTHENTICATED"
    fatal = True


class TokensMissing(RequestError):
    """Nobody can be let in: the tokens could not be read for too long."""

    status = 503
    code = "TEMPORARILY_UNAVAILABLE"
    retry_after = 5
    fatal = True


class UnknownPath(RequestError):
    """No such path, model or version."""

    status = 404
    code = "RESOURCE_DOES_NOT_EXIST"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    status = 405


class SlowRequest(RequestError):
    """The request did not arrive completely in time."""

    status = 408
    fatal = True


class BodyTooLarge(RequestError):
    """The body exceeds the limit."""

    status = 413
    fatal = True


class UnsupportedMedia(RequestError):
    """The body is encoded in a way that is not read here."""

    status = 415


class HeadersTooLarge(RequestError):
    """The request line and headers exceed the limit."""

    status = 431
    fatal = True


class ModelFailed(RequestError):
    """The model could not answer these rows."""

    status = 500
    code = "INTERNAL_ERROR"


class Overloaded(RequestError):
    """The queue is full, or there is no model to answer yet."""

    status = 503
    code = "TEMPORARILY_UNAVAILABLE"
    retry_after = 1


class DeadlinePassed(RequestError):
    """The answer would have come after the request's deadline."""

    status = 504
    code = "DEADLINE_EXCEEDED"
