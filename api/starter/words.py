"""What the names of columns usually say, as words of the name (`customerID` has the words customer and id)."""

from typing import Final

PREDICTION: Final = frozenset(
    {"prediction", "predictions", "pred", "predicted", "predict", "yhat", "hat", "decision", "answer", "response",
     "completion", "output", "reply", "forecast", "classified"}
)  # fmt: skip
SCORE: Final = frozenset({"score", "scores", "proba", "prob", "probability", "confidence", "certainty", "likelihood"})
OUTCOME: Final = frozenset(
    {"outcome", "label", "labels", "target", "truth", "actual", "actuals", "observed", "gold", "correct", "rating",
     "feedback", "thumbs"}
)  # fmt: skip
# What turned out, where the values are few.
EVENTUAL: Final = frozenset(
    {"class", "default", "defaulted", "churn", "churned", "fraud", "fraudulent", "converted", "conversion", "clicked",
     "click", "survived", "recid", "readmitted", "repaid", "cancelled", "canceled", "returned", "resolved", "y"}
)  # fmt: skip
TRUE: Final = frozenset({"true", "actual", "truth", "gold", "real", "label", "observed"})
PROTECTED: Final = frozenset(
    {"sex", "gender", "age", "race", "ethnicity", "ethnic", "religion", "marriage", "marital", "married", "disability",
     "disabled", "nationality", "pregnant", "pregnancy", "foreign", "citizenship", "citizen"}
)  # fmt: skip
# Not protected themselves, and often close to what is.
PERHAPS_PROTECTED: Final = frozenset({"education", "zip", "zipcode", "postcode", "postal", "birthplace", "origin"})
PERSON: Final = frozenset(
    {"user", "customer", "client", "patient", "person", "member", "applicant", "employee", "account", "subscriber",
     "borrower", "student", "guest", "enduser"}
)  # fmt: skip
ID: Final = frozenset({"id", "ids", "uuid", "guid", "identifier", "key", "no", "number", "ref", "hash", "email"})
SEGMENT: Final = frozenset(
    {"channel", "country", "region", "language", "lang", "locale", "platform", "device", "tenant", "store", "branch",
     "market", "source", "site", "queue", "department", "segment", "product", "currency"}
)  # fmt: skip
AGENT: Final = frozenset({"agent", "tool", "router"})
MEASURE: Final = frozenset({"latency", "duration", "elapsed", "tokens", "cost", "ms", "millis"})
UNITS: Final = {"ms": "ms", "millis": "ms", "seconds": "s", "usd": "USD", "eur": "EUR", "tokens": "tokens"}
TIME: Final = frozenset(
    {"ts", "time", "timestamp", "date", "datetime", "day", "created", "at", "when", "occurred", "epoch", "answered"}
)
# From the likeliest to the least likely name of the time of an answer.
TIME_NAMES: Final = (
    "ts", "timestamp", "eventtime", "eventtimestamp", "time", "datetime", "answeredat", "createdat", "occurredat",
    "eventdate", "date",
)  # fmt: skip
VERSION: Final = ("version", "modelversion", "modelid", "model", "system")
CODES: Final = frozenset(
    {"code", "type", "category", "education", "status", "season", "weekday", "weathersit", "class", "grade", "group",
     "zip", "zipcode", "postcode", "id"}
) | PROTECTED - {"age"}  # fmt: skip
# Words that make something else of an answer, an outcome or an age: `response_time`, `label_id`, `account_age`.
ABOUT: Final = frozenset(
    {"time", "length", "len", "count", "size", "at", "date", "id", "status", "code", "number", "days", "months"}
)
OF_THINGS: Final = frozenset(
    {"account", "vehicle", "car", "company", "building", "loan", "credit", "device", "language"}
)
TEXTS: Final = frozenset({"text", "message", "question", "prompt", "input", "query", "comment", "description", "body"})
