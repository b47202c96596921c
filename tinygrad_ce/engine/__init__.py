"""How a gradient comes about."""
