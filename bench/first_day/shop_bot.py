"""A chat bot that is instrumented with OpenTelemetry: `python -m bench.first_day.shop_bot --days 12 --new-topic`.

It invents questions and answers and sends a span for each to `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, with times of the
past, so that days of traffic arrive in seconds: whole days up to yesterday, and the hours since. With --new-topic,
customers ask about something new from yesterday on.
"""

import argparse
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

SEED: Final = 12
TOPICS: Final = (
    (("where is my parcel", "my order has not arrived", "track the delivery of order"), "it arrives tomorrow"),
    (("i want my money back for", "how do i return", "refund for order"), "the refund takes three days"),
    (("i cannot sign in with", "change the address of my account", "reset my password for"), "see your profile"),
)
NEW: Final = (
    ("the app crashes when i scan", "scanner shows a black screen on", "camera permission error with"),
    "sorry",
)
WORDS: Final = ("shoes", "a lamp", "the blue jacket", "my phone", "a chair", "two books", "the gift card", "a kettle")


def day(tracer: Tracer, begin: datetime, spans: int, *, new: bool, choose: random.Random) -> int:
    """Send the spans of one day, as far as it is over; of a day with a new topic, every third asks about it."""
    for number in range(spans):
        at = begin + timedelta(seconds=86_400 * (number + choose.random()) / spans)
        if at > datetime.now(UTC) - timedelta(seconds=30):
            return number
        questions, answer = NEW if new and number % 3 == 0 else choose.choice(TOPICS)
        question = f"{choose.choice(questions)} {choose.choice(WORDS)} {choose.randint(1000, 9999)}"
        start = int(at.timestamp() * 1e9)
        span = tracer.start_span("chat", start_time=start, attributes={
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "bot-1", "input.value": question,
            "output.value": f"{answer}, {choose.choice(('dear customer', 'thank you', 'anything else?'))}",
            "gen_ai.usage.input_tokens": len(question.split()), "gen_ai.usage.output_tokens": choose.randint(5, 30),
            "user.id": f"u{choose.randint(1, 900)}",
        })  # fmt: skip
        span.end(end_time=start + int(choose.lognormvariate(0, 0.4) * 6e8))
    return spans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1, help="whole days of traffic; the last one is yesterday")
    parser.add_argument("--spans", type=int, default=300, help="spans of one day")
    parser.add_argument("--new-topic", action="store_true", help="questions about something new, from yesterday on")
    parser.add_argument("--service", default="shop-bot", help="service.name of the spans")
    given = parser.parse_args()
    provider = TracerProvider(resource=Resource({"service.name": given.service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=2048 + given.spans))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    choose = random.Random(SEED + given.days)
    sent = 0
    for number in range(given.days + 1):
        begin = midnight - timedelta(days=given.days - number)
        new = given.new_topic and number >= given.days - 1
        sent += day(provider.get_tracer("shop"), begin, given.spans, new=new, choose=choose)
        provider.force_flush()
    provider.shutdown()
    print(f"{sent} spans of {given.service} sent")


if __name__ == "__main__":
    main()
