"""Why a policy does what it does: one question a file, asked of a trained run and of its data."""
