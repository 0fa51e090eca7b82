"""The core: cubes of counts and livetime, and the methods that make background models from them."""
