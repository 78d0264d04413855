"""The email that goes out when no model can write one: plain words in English or Korean. Pure."""

from __future__ import annotations

from html import escape

from agents.swarm.outputs import PRODUCT_LINK, UNSUBSCRIBE, ChosenProduct, Email

WRITTEN_BY = "template"

_TEXTS = {
    "en": {
        "subject": "Picked for you: {name}",
        "lapsed_buyer": "Hello,\n\nit has been a while since your last order, and we thought of you.",
        "order_cancelled": "Hello,\n\nwe are sorry that your order was cancelled.",
        "price_drop": "Hello,\n\nsomething that you looked at costs less now.",
        "season_start": "Hello,\n\na season begins for which you have found something with us before.",
        "other": "Hello,\n\nwe have something for you.",
        "product": "You might like {name}{price}.",
        "end": "Thank you for being with us.",
    },
    "ko": {
        "subject": "고객님을 위한 추천: {name}",
        "lapsed_buyer": "안녕하세요,\n\n마지막 주문 이후 시간이 조금 지나 인사드립니다.",
        "order_cancelled": "안녕하세요,\n\n주문이 취소되어 죄송합니다.",
        "price_drop": "안녕하세요,\n\n살펴보신 상품의 가격이 내려갔습니다.",
        "season_start": "안녕하세요,\n\n예전에 찾아 주셨던 상품의 계절이 돌아왔습니다.",
        "other": "안녕하세요,\n\n고객님께 소개해 드리고 싶은 상품이 있습니다.",
        "product": "{name}{price} 상품을 추천해 드립니다.",
        "end": "늘 함께해 주셔서 감사합니다.",
    },
}


def write_template(language: str, kind: str, product: ChosenProduct) -> Email:
    """An email about a product for a moment of this kind; English for a language that has no words here."""
    language = language if language in _TEXTS else "en"
    words = _TEXTS[language]
    price = "" if product.price is None else f" ({product.price})"
    name = " ".join(product.name.split())
    parts = [
        words.get(kind, words["other"]),
        words["product"].format(name=name, price=price),
        " ".join(product.reason.split()),
        PRODUCT_LINK,
        words["end"],
        UNSUBSCRIBE,
    ]
    text = "\n\n".join(filter(None, parts))
    return Email(
        subject=words["subject"].format(name=name)[:150],
        text=text,
        html="\n".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n")),
        language=language,
        product_id=product.product_id,
        image_prompt=f"A bright photograph of {name} in use, no people, no text",
        written_by=WRITTEN_BY,
    )
