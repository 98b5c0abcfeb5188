"""The layered mesh: a portrait cut into skin, eyeballs and mouth interior, warped by its landmarks."""
