"""A browser that follows redirects, keeps cookies, and does what each page asks of a person.

It knows the pages of oidc-provider's development interactions: sign in, then consent.
"""

import re
from urllib.parse import urljoin

import httpx2

STEPS_MAX = 20
_FORM = re.compile(r'<form[^>]* action="([^"]+)" method="post"')
_PROMPT = re.compile(r'name="prompt" value="(\w+)"')


async def sign_in(address, until, who="anna"):
    """Goes on until it is to open `until`: that whole address, which it does not open."""
    async with httpx2.AsyncClient() as client:
        method, form = "GET", None
        for _ in range(STEPS_MAX):
            answer = await client.request(method, address, data=form)
            method, address, form = _next(address, answer, who)
            if address.startswith(until):
                return address
    raise AssertionError(f"it never came to {until}")


def _next(address, answer, who):
    if answer.is_redirect:
        return ("GET", urljoin(address, answer.headers["location"]), None)
    form, prompt = _FORM.search(answer.text), _PROMPT.search(answer.text)
    assert form, (answer.status_code, answer.text[:2_000])
    assert prompt, answer.text[:2_000]
    said = {"prompt": prompt[1]}
    if prompt[1] == "login":
        said |= {"login": who, "password": "x"}
    return ("POST", urljoin(address, form[1]), said)
