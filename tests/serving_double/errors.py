"""What a request is refused with."""

import grpc

HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.NOT_FOUND: 404,
}


class ServingError(Exception):
    """A status code and its message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message):
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_served(name, number):
    """The error for a model or version that is not there; number None: for any version of it."""
    wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")


def from_op_error(error):
    """The error of an operation in the graph, with the code it has there."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return ServingError(codes[error.error_code], error.message)
