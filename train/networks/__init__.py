"""Networks that only training needs."""
