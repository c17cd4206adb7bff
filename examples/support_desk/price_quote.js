// A quote for some items of our catalogue, delivered to a country; amounts in pence.
({ items, country }) => {
  const prices = { lamp: 2900, desk: 18900, chair: 9900, shelf: 5900 };
  const shipping = { GB: 450, IE: 700 };
  const lines = [...new Set(items)].sort().map((item) => {
    if (!Object.hasOwn(prices, item)) throw new Error(`we do not sell ${item}`);
    const count = items.filter((other) => other === item).length;
    return { item, count, pence: prices[item] * count };
  });
  const goods = lines.reduce((sum, line) => sum + line.pence, 0);
  const delivery = lines.length === 0 ? 0 : Object.hasOwn(shipping, country) ? shipping[country] : 1900;
  const vat = country === "GB" ? Math.round((goods + delivery) / 5) : 0;
  return { country, lines, goods, delivery, vat, total: goods + delivery + vat };
}
