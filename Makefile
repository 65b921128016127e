PYTHON ?= python3

.PHONY: demo test check figures bench docs

demo test check:
	@$(PYTHON) run.py $@

figures bench docs:
	@$(PYTHON) run.py $@ $(ONLY)
