"""How customers of an imaginary bank put things: `(a|b)` is a choice, `(a|)` may be left out, `<slot>` is filled in."""

from collections.abc import Mapping
from typing import Final

# Intents of the first release. Neighbours share words on purpose: lost and stolen, declined and failed, fee and rate.
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "card_lost": (
        "(I have|I've|i) lost my (bank |debit |)card (somewhere|at <place>|<when>|)",
        "(I can't|cannot) find my card (anywhere|since <when>), (please block it|can it be frozen|what now)",
        "my card (is|went) missing (since <when>|after a trip to <place>|)",
        "(think|pretty sure) I left my card (at|in) <place>, (block it please|need a new one)",
        "my wallet fell out (at|near) <place> and the card was in it",
    ),
    "card_stolen": (
        "(someone|somebody) (stole|took|has taken) my (card|wallet|purse) (at <place>|<when>|)",
        "my (bag|wallet|card) was (stolen|snatched|nicked) (at|near) <place> (<when>|)",
        "I was (robbed|pickpocketed) (at <place>|<when>), (please block the card|freeze everything)",
        "(the police told me to|I need to) report a stolen card",
        "my card is missing and there are (payments|withdrawals) (I did not make|that are not mine)",
    ),
    "card_arrival": (
        "(when will|when does) my (new |replacement |)card (arrive|come|get here)",
        "(still waiting|I am waiting) for (my|the) card (you sent|ordered) <when>",
        "my (new|replacement) card (has not|hasn't|still hasn't) (arrived|come in the post|turned up)",
        "(how long|how many days) (does it take for a card to be delivered|until I get the new card)",
        "can I track the (card|letter with my card) (you posted|on its way|)",
    ),
    "card_not_working": (
        "my card (does not|doesn't|won't) work (at <place>|in the machine|any more|)",
        "the (chip|contactless|magnetic strip) (on|of) my card (stopped working|is broken|is not read)",
        "(the terminal|card reader|machine) (cannot read|keeps rejecting) my card",
        "my card is (cracked|broken|bent), (can I get another|what now)",
        "contactless (has stopped|is not) working (since <when>|at <place>|)",
    ),
    "declined_card_payment": (
        "my (card |)payment (of <amount> |)(to <merchant> |at <merchant> |)(was|got|has been) (declined|refused|rejected)",
        "(tried|I was trying) to pay <merchant> (<amount> |)and (it was declined|the card was refused)",
        "why (was|is) my card (declined|rejected) (when paying|in the shop|online|at <merchant>)",
        "(cannot|can't) pay with my card (at <merchant>|online), it (is refused|says declined)",
        "there is (enough money|plenty) on the account but <merchant> declined my card",
    ),
    "declined_cash_withdrawal": (
        "the (ATM|cash machine) (at <place> |)(would not|wouldn't|refused to) (give|pay out) (me |)(money|cash|<amount>)",
        "my (cash |)withdrawal (of <amount> |)was (declined|refused|rejected)",
        "(could not|couldn't|can't) (take out|withdraw) (cash|<amount>|money) (at <place>|<when>|)",
        "why was I (declined|rejected) at the (ATM|cashpoint)",
        "(tried|wanted) to (get|take out) <amount> (from the machine |)and it was declined",
    ),
    "cash_short": (
        "the (ATM|cash machine) (gave|paid) me (only |)<amount> (instead of|but booked) <amount>",
        "(I got|received) (less|too little) cash (from the machine|at <place>) than (I asked for|was booked)",
        "<amount> was (taken|booked) but the (ATM|machine) gave me (nothing|only part of it|less)",
        "(no|not all the) (money|cash) came out of the (ATM|machine) (at <place> |)but it is on my statement",
        "the cash machine (swallowed|kept) part of my withdrawal (of <amount>|)",
    ),
    "transfer_pending": (
        "my transfer (to <person> |of <amount> |)is (still |)(pending|not through|processing) (since <when>|)",
        "(how long|when) (does|will) (a|the|my) transfer (take|arrive|go through)",
        "<person> (has not|hasn't) (got|received) the (money|<amount>) I sent <when>",
        "(I sent|transferred) <amount> (to <person> |)<when> and it (is not there yet|still hasn't arrived)",
        "why (does|is) my (bank |)transfer (take|taking) so long",
    ),
    "transfer_failed": (
        "my transfer (to <person> |of <amount> |)(failed|was rejected|came back|could not be made)",
        "(why|for what reason) (was|is) my (bank |)transfer (declined|rejected|returned)",
        "(I get|there is) an error when (I send|sending|I transfer) (money|<amount>) (to <person>|abroad|)",
        "(cannot|can't) (make|send) a transfer (to <person>|of <amount>|), it (fails|is refused) (every time|)",
        "the <amount> I (sent|transferred) <when> (came back|was returned)",
    ),
    "transfer_to_wrong_account": (
        "I (sent|transferred) (<amount>|money) to the wrong (account|person|IBAN)",
        "(typed|entered|used) a wrong (account number|IBAN) (in a transfer|when I sent <amount>), (can I get it back|please stop it)",
        "(can I|how do I) (cancel|recall|stop) a transfer (I made by mistake|to <person>|made <when>)",
        "<amount> went to (somebody else|the wrong person) (<when>|by mistake|)",
        "(please|I need you to) (cancel|recall) (my|the) transfer of <amount>",
    ),
    "top_up_failed": (
        "my top(-| |)up (of <amount> |)(failed|was rejected|did not work|is not on the account)",
        "(cannot|can't) (add|load) money (to my account|by card|from <bank>)",
        "(I tried to|trying to) top up (<amount>|from <bank>|by card) and it (fails|was declined)",
        "the money I (added|loaded) <when> (is missing|never showed up|was returned)",
        "why (is|was) my top(-| |)up (declined|reverted|cancelled)",
    ),
    "exchange_rate": (
        "(what|which) (exchange |)rate (do you use|applies|did I get) (for <currency>|in <place>|)",
        "the (exchange |)rate (for <currency> |)(is|was|looks) (wrong|bad|not what was promised)",
        "(how is|how do you work out) the (rate|conversion) (from|to|for) <currency>",
        "I (got|received) (a bad|the wrong) rate (when paying|for cash) in <currency>",
        "(is|was) the (interbank|market) rate used for my <currency> payment",
    ),
    "foreign_fee": (
        "(why|for what) (was I|am I being) charged (a fee|extra|<fee>) (abroad|in <place>|for paying in <currency>)",
        "(is there|what is) (a|the) fee for (using my card|paying|withdrawing) (abroad|in <place>|in <currency>)",
        "there is (a fee of <fee>|an extra charge) (for|on) my (payment|withdrawal) in <currency>",
        "(do you charge|what do you charge) for (foreign payments|cash abroad|<currency>)",
        "(an|some) extra <fee> (was|has been) taken (for|on) a payment in <place>",
    ),
    "account_fee": (
        "(why|for what) (did you take|was I charged) <fee> (this month|<when>|for the account)",
        "(what|how much) (is|are) the (monthly |account |)(fee|fees|charges)",
        "(there is|I see) a (monthly|service) (fee|charge) (of <fee> |)on my (statement|account)",
        "I was (promised|told) the account is free, (why the fee|but you charged <fee>)",
        "an extra <fee> (was|has been) (taken|charged) and I (don't know|have no idea) what for",
    ),
    "refund_missing": (
        "(my|the) refund (from <merchant> |of <amount> |)(has not|hasn't) (arrived|come|shown up)",
        "<merchant> (says|said) (they refunded|the money was returned) (<when>|) but (I see nothing|it is not on my account)",
        "(where is|when do I get) (my|the) refund (from <merchant>|of <amount>)",
        "(I returned|sent back) (something|an order) to <merchant> <when>, (no money yet|still no refund)",
        "(how long|how many days) does a refund (from <merchant> |)take",
    ),
    "unknown_payment": (
        "(there is|I see) a (payment|charge|debit) (of <amount> |to <merchant> |)(I don't recognise|I did not make|that is not mine)",
        "(what|who) is (this|the) (charge|payment) (of <amount>|from <merchant>) on my (statement|account)",
        "I (never|did not) (buy|order|pay) anything (at|from) <merchant>",
        "(someone|somebody) (used|is using) my (card|account) (at <merchant>|for payments|online)",
        "<merchant> (took|charged) <amount> (twice|again|without asking)",
    ),
    "forgotten_pin": (
        "(I forgot|forgot|don't remember) (my|the) (PIN|pin|code) (of my card|)",
        "(how|where) (can I|do I) (see|change|reset) (my|the) (PIN|pin)",
        "(entered|typed) the wrong (PIN|pin) (three times|too often) (at <place> |)and (it is blocked|the card is blocked)",
        "my (PIN|pin) (is blocked|does not work|is not accepted)",
        "(need|want) a new (PIN|pin|code) for (my|the) card",
    ),
    "login_problem": (
        "(I can't|cannot|can't) log in (to the app|to my account|since <when>|)",
        "(forgot|lost|want to reset) my (password|passcode|login)",
        "the app (asks for|wants) a (code|passcode) (I don't have|that never comes)",
        "(the|your) (code|text message|verification) (to log in |)(never arrives|does not work|is not accepted)",
        "(locked out|I am locked out) of (the app|my account) (since <when>|)",
    ),
}

# Intents that appear later; no model trained before has seen one of them.
NEW: Final[Mapping[str, tuple[str, ...]]] = {
    "crypto_wallet": (
        "(can I|how do I) (buy|sell|hold) (<coin>|crypto) (in the app|with you|)",
        "(my|the) <coin> (has not|hasn't) (arrived|shown up) in (my|the) (crypto |)wallet",
        "(how|can I) (send|move|transfer) (my |)<coin> to (another|an outside|my own) wallet",
        "(what|which) (fee|spread|rate) (do you take|applies) (on|for) <coin>",
        "(why|for what reason) is (my crypto wallet|<coin> trading) (locked|not available|blocked)",
    ),
    "pay_later": (
        "(can I|how do I) (split|pay) (<amount>|a purchase at <merchant>) in (three|four|monthly) (instalments|parts)",
        "(I want to|can I) (pay later|use buy now pay later) (at <merchant>|for <amount>|)",
        "(when is|what is) (the|my) next instalment (due|for <merchant>|of <amount>)",
        "(can I|how do I) pay off my (instalments|pay later plan) (early|now|at once)",
        "why was my (pay later|instalment) (plan|request) (declined|refused)",
    ),
    "open_banking_consent": (
        "(how do I|can I) (connect|link) my account at <bank> (to the app|here|)",
        "(which|what) (apps|third parties|companies) (have access to|can see) my (account|data)",
        "(I want to|how do I) (withdraw|remove|end) (the |)(consent|access) (for|of) <app>",
        "the (connection|link) to <bank> (expired|stopped working|has to be renewed)",
        "<app> (asks for|wants) (access|consent|permission) to (read |)my account, (is that safe|what does it see)",
    ),
    "virtual_card": (
        "(can I|how do I) (get|create|make) a (virtual|single(-| )use|disposable) card",
        "(is there|do you have) a card (number |)(for one payment|just for online shopping)",
        "(my|the) (virtual|disposable) card (was declined|does not work) (at <merchant>|online|)",
        "(how many|do) virtual cards (can I have|cost anything)",
        "(how do I|can I) (add|put) (my|a) (virtual |)card (to|in) (my phone|the phone wallet|my watch)",
    ),
    "carbon_footprint": (
        "(how|on what basis) (is|do you work out) (the|my) (carbon|CO2) (footprint|score) (of my spending|)",
        "(the|my) (carbon footprint|CO2 figure) for <merchant> (is wrong|cannot be right|looks too high)",
        "(can I|how do I) (offset|compensate) (the CO2 of my spending|my footprint)",
        "(where|how) (do I see|can I see) (how green|the emissions of) my (purchases|spending)",
        "(can I|how do I) (turn off|hide) the (carbon|climate) (tracker|page)",
    ),
}

# Vague messages that two intents share: no reader could always tell them apart either.
SHARED: Final[tuple[tuple[frozenset[str], tuple[str, ...]], ...]] = (
    (frozenset({"card_lost", "card_stolen"}), ("my card is (gone|missing), (please block it|block everything)", "I need my card (frozen|blocked) (now|right away)")),
    (frozenset({"card_not_working", "declined_card_payment"}), ("my card (was not accepted|isn't accepted) at <merchant>", "(could not|couldn't) pay with my card (<when>|at <place>)")),
    (frozenset({"declined_cash_withdrawal", "cash_short"}), ("the (ATM|machine) (did not give|didn't give) me my (money|cash)", "(problem|trouble) at the (ATM|cash machine) (at <place>|<when>)")),
    (frozenset({"transfer_pending", "transfer_failed"}), ("the <amount> for <person> (never|did not) (arrived|got there)", "(something is|what is) wrong with my transfer (to <person>|of <amount>)")),
    (frozenset({"foreign_fee", "exchange_rate"}), ("(I paid|was booked) more than expected (in <place>|for a payment in <currency>)", "the amount of my <currency> payment (is|looks) too high")),
    (frozenset({"foreign_fee", "account_fee"}), ("why (was|am) I charged <fee>", "what is this (fee|charge) of <fee>")),
    (frozenset({"refund_missing", "unknown_payment"}), ("<merchant> (owes me|has to return) <amount>", "I want my <amount> back from <merchant>")),
    (frozenset({"forgotten_pin", "login_problem"}), ("my code (is not|isn't) (accepted|working)", "I (forgot|don't know) my (code|passcode)")),
    (frozenset({"top_up_failed", "transfer_failed"}), ("the money from <bank> (did not|didn't) (arrive|come in)", "(sending|moving) money from <bank> does not work")),
)  # fmt: skip

OPENERS: Final = (
    "hi", "hello", "hey", "good morning", "good evening", "hi there", "hello again", "dear team", "excuse me", "quick question",
    "please help", "urgent", "sorry to bother you", "I have a problem", "can you help", "ok so", "second time I ask",
)  # fmt: skip
CONTEXTS: Final = (
    "I am in <place> at the moment", "this is for <person>", "it worked <when>", "I have been a customer for years",
    "I already tried the app", "I called <when> and nobody answered", "my phone is new", "the shop was <merchant>",
    "I paid at <merchant> before without trouble", "I moved house <when>", "I use <bank> as well", "we leave for <place> soon",
    "it is about <amount>", "<person> has the same", "your page did not help", "I restarted the app twice",
)  # fmt: skip
CLOSERS: Final = (
    "thanks", "thank you", "please help", "please answer soon", "cheers", "what should I do", "any idea", "this is annoying",
    "I am not happy", "best regards", "asap please", "many thanks in advance", "can you check", "what now",
)  # fmt: skip
SLOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "amount": (*(f"{sign}{n}" for sign in ("£", "€", "$") for n in (5, 12, 20, 37, 50, 80, 100, 149, 250, 400, 999, 1200)), "fifty quid", "a hundred", "200 euros", "30 pounds", "1,500"),
    "fee": ("£1", "£2.50", "€3", "5 euros", "1.99", "4 pounds", "$3", "2%", "£9.90"),
    "place": (
        "Lisbon", "the airport", "the station", "Berlin", "the gym", "a petrol station", "Rome", "the supermarket", "the office",
        "New York", "the pub", "Oslo", "a taxi", "the hotel", "Krakow", "the market", "Dublin", "the beach", "Tokyo", "the bus",
    ),
    "when": (
        "yesterday", "this morning", "last week", "two days ago", "on Monday", "last night", "on the 3rd", "a week ago", "today",
        "last Friday", "an hour ago", "before the weekend", "last month", "at lunch", "on Sunday",
    ),
    "merchant": (
        "Norwood Books", "the grocery", "Alpine Air", "Bellini Pizza", "TrainLink", "Kettle & Co", "the hotel", "a web shop",
        "Hartmann Tools", "Petal", "the pharmacy", "StreamBox", "Orchard Market", "GlobeStay", "the garage", "Tiny Toys",
    ),
    "person": ("my landlord", "my sister", "a friend", "my mum", "the plumber", "Tom", "Aisha", "my employer", "Mrs Okafor", "my flatmate"),
    "bank": ("my old bank", "Nordbank", "First Harbour", "another bank", "Banco Sol", "my savings bank"),
    "currency": ("euros", "dollars", "yen", "zloty", "USD", "GBP", "francs", "kroner", "pesos", "baht"),
    "coin": ("bitcoin", "ethereum", "BTC", "crypto", "ETH", "stablecoins"),
    "app": ("a budgeting app", "PennyWise", "my accountant's software", "a loan company", "LedgerPal"),
}  # fmt: skip
