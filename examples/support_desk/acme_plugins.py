"""What the support desk's policy asks its own company: who is a customer.

`pip install examples/support_desk` installs it as the plugin `acme_plugins`; a host that has it at hand may
pass the module to `Guard.load(plugins=[acme_plugins])` instead.
"""

from ringfence.plugin import Email, policy_function

CUSTOMERS = frozenset(
    {"ann@customers.example", "bob@customers.example"} | {f"c{n}@customers.example" for n in range(1, 201)}
)
"""A real company would ask its customer database here, over a connection that only reads."""


@policy_function(timeout_ms=50)
def is_customer(address: Email) -> bool:
    """Say whether a mail to this address goes to a customer."""
    return address in CUSTOMERS
