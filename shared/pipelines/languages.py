"""Codes of the languages that texts are told apart by (ISO 639-1). Torch-free."""

_CODES = """
    af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr ht hu hy id ig is
    it ja jv ka kk km kn ko ku ky la lg ln lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt qu ro ru sa si sk sl
    so sq sr sv sw ta te th tl tr ug uk ur uz vi xh yo zh zu
"""
LANGUAGES = frozenset(_CODES.split())
