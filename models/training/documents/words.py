"""Words on documents: labels in five languages, names, goods, and the trading names that go with an emblem."""

from __future__ import annotations

LANGUAGES = ("en", "de", "fr", "es", "it")

LABELS: dict[str, tuple[str, str, str, str, str]] = {
    "amount": ("Total", "Summe", "Total TTC", "Importe", "Totale"),
    "date": ("Date", "Datum", "Date", "Fecha", "Data"),
    "beneficiary": ("Pay to", "Empfänger", "Bénéficiaire", "Páguese a", "Beneficiario"),
    "goods": ("Goods", "Ware", "Marchandise", "Mercancía", "Merce"),
    "number": ("No.", "Nr.", "N°", "Núm.", "N."),
    "name": ("Name", "Name", "Nom", "Nombre", "Nome"),
    "birth": ("Date of birth", "Geburtsdatum", "Né(e) le", "Nacimiento", "Nato il"),
    "expiry": ("Valid until", "Gültig bis", "Expire le", "Válido hasta", "Scadenza"),
    "account": ("Account", "Konto", "Compte", "Cuenta", "Conto"),
    "reference": ("Reference", "Verwendung", "Référence", "Referencia", "Causale"),
}
"""Label of a field, in the order of `LANGUAGES`."""

TITLES: dict[str, tuple[str, str, str, str, str]] = {
    "invoice": ("INVOICE", "RECHNUNG", "FACTURE", "FACTURA", "FATTURA"),
    "cheque": ("CHEQUE", "SCHECK", "CHÈQUE", "CHEQUE", "ASSEGNO"),
    "receipt": ("RECEIPT", "QUITTUNG", "REÇU", "RECIBO", "RICEVUTA"),
    "identity_card": ("IDENTITY CARD", "PERSONALAUSWEIS", "CARTE D'IDENTITÉ", "IDENTIDAD", "CARTA D'IDENTITÀ"),
}

GOODS = (
    "steel pipes", "cotton yarn", "roasted coffee", "solar panels", "copper wire", "tractor parts", "olive oil",
    "ceramic tiles", "paper rolls", "glass bottles", "leather shoes", "machine tools", "rice sacks", "plastic film",
    "car tyres", "wood boards", "water pumps", "steel bolts", "office chairs", "frozen fish", "green tea", "wool rugs",
    "bicycle frames", "light bulbs",
)  # fmt: skip

FIRST_NAMES = (
    "Anna", "Bruno", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karin", "Luca", "Marta",
    "Nils", "Olga", "Pablo", "Rosa", "Simon", "Teresa", "Viktor",
)  # fmt: skip

LAST_NAMES = (
    "Albrecht", "Bianchi", "Castro", "Dupont", "Eriksen", "Fischer", "Garcia", "Hoffman", "Ivanov", "Jansen", "Keller",
    "Lopez", "Moreau", "Novak", "Olsen", "Perez", "Quinn", "Rossi", "Schmidt", "Tanner", "Urban", "Vidal", "Weber",
)  # fmt: skip

FILLER = (
    "payment due within thirty days", "thank you for your order", "goods remain property until paid",
    "keep this slip for your records", "see terms overleaf", "issued under licence", "not transferable",
    "delivery free to the door", "subject to our conditions", "all prices include tax", "signature of the holder",
)  # fmt: skip

EMBLEM_SHAPES = ("disc", "square", "triangle", "diamond", "ring", "cross", "hexagon", "bars")
EMBLEM_COLOURS: tuple[tuple[int, int, int], ...] = (
    (196, 40, 40), (30, 90, 190), (30, 140, 70), (225, 140, 20), (120, 50, 150), (40, 40, 44),
)  # fmt: skip

_STEMS = (
    "Avelon", "Brixa", "Cordel", "Dunmar", "Estral", "Fenwik", "Galtor", "Hexium", "Isolde", "Jorvik", "Kestral",
    "Lumora", "Mirano", "Nordal", "Orbano", "Pelixa", "Quorin", "Ravena", "Solvik", "Tarquo", "Ulmera", "Vestor",
    "Wexley", "Xanter", "Yarrow", "Zephyr", "Albora", "Bastin", "Calder", "Dorset", "Elvano", "Farrow", "Grendi",
    "Halden", "Imbria", "Juneau", "Korvin", "Lisbet", "Marlow", "Nimbus", "Oakham", "Pravda", "Quillo", "Rostin",
    "Sandor", "Tivoli", "Umbria", "Valden",
)  # fmt: skip

BRANDS = tuple(f"{stem} Trading" for stem in _STEMS)
"""Trading names; brand i has emblem shape i % 8 in colour i // 8."""
