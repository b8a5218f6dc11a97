"""A task module that does not import."""

import nothing_of_that_name  # type: ignore[import-not-found]  # that is the point

f = nothing_of_that_name.f
