"""Servers on loopback that answer as the real ones do, and mutants of each, with one thing wrong.

What they answer is what Kong 3.9 in front of productpage, Prometheus 3, Kiali 2.26 and Grafana 13 document.
"""
