"""Names of the library under which earlier versions documented them, for one release."""
